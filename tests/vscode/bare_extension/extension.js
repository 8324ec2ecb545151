// The least that a language client can be: start the program, and let the library do all the rest.
const { LanguageClient } = require('vscode-languageclient/node');
const { workspace } = require('vscode');

let client;

exports.activate = async () => {
  const settings = workspace.getConfiguration('bare');
  const [command, ...args] = settings.get('command');
  client = new LanguageClient(
    'bare',
    'bare',
    { command, args },
    { documentSelector: [{ scheme: 'file' }], initializationOptions: settings.get('options') },
  );
  await client.start();
};

exports.deactivate = () => client?.stop();
