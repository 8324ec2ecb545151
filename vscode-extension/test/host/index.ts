/** Where VS Code begins to test: `extensionTestsPath` names the bundle of this file. */
import './commands.ts';
import './settings.ts';
import './session.ts';
import { runAll } from './suite.ts';

export async function run(): Promise<void> {
  const report = process.env['BOTFRAMEWORK_HOST_REPORT'];
  if (report === undefined) {
    throw new Error('BOTFRAMEWORK_HOST_REPORT names no file');
  }
  await runAll(report);
}
