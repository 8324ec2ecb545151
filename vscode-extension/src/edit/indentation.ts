/** The indentation of code that comes from elsewhere. Pure. */
import { splitLines } from './lines.ts';

/**
 * The code with the indentation of what it replaces, and with a line end behind it if that has one.
 *
 * @param old - what is replaced
 * @param lead - what stands before `old` on its line; if that is not only blanks, the code is none of whole lines and stays
 *   as it is
 */
export function indentedLike(old: string, lead: string, code: string): string {
  if (lead.trim() !== '') {
    return code;
  }
  const oldLines = splitLines(old);
  const wanted = lead + commonIndent([...oldLines.slice(0, 1), ...(lead === '' ? oldLines.slice(1) : [])]);
  const lines = splitLines(code.replace(/(?:\r\n|\r|\n)+$/, ''));
  const present = commonIndent(lines);
  const text = lines
    .map((line, index) => {
      if (line.trim() === '') {
        return '';
      }
      // What stands before the first line is there already.
      return (index === 0 ? wanted.slice(lead.length) : wanted) + line.slice(present.length);
    })
    .join('\n');
  return /[\r\n]$/.test(old) ? `${text}\n` : text;
}

/** The blanks with which every line begins that is not empty. */
function commonIndent(lines: readonly string[]): string {
  let common: string | undefined;
  for (const line of lines) {
    if (line.trim() !== '') {
      const indent = /^[ \t]*/.exec(line)?.[0] ?? '';
      common = common === undefined ? indent : sharedBeginning(common, indent);
    }
  }
  return common ?? '';
}

function sharedBeginning(one: string, other: string): string {
  let length = 0;
  while (length < one.length && one.charAt(length) === other.charAt(length)) {
    length += 1;
  }
  return one.slice(0, length);
}
