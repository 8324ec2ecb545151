/** The chat's page. Pure. */

/** What the page needs from the webview that shows it. */
export interface PageSources {
  /** The source from which a webview may load what the extension brings. */
  readonly cspSource: string;
  /** Unguessable, and new for every page. */
  readonly nonce: string;
  readonly script: string;
  readonly style: string;
}

/**
 * Nothing but our own script and style: no images, no fonts, no connections, no forms, no frames. An answer of the model is
 * text and cannot become any of them.
 */
export function contentSecurityPolicy({ cspSource, nonce }: PageSources): string {
  return [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src ${cspSource}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
}

export function pageHtml(sources: PageSources): string {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${contentSecurityPolicy(sources)}">
<link rel="stylesheet" href="${sources.style}">
<title>botframework chat</title>
</head>
<body>
<main>
<h1 class="hidden">Chat</h1>
<div id="conversation" role="log" aria-live="off" aria-label="Conversation" tabindex="0">
<p id="empty">Ask the model on your machine. Nothing leaves it.</p>
</div>
<form id="composer" aria-label="New message">
<ul id="context" aria-label="Context of the message" hidden></ul>
<div id="offers">
<button type="button" id="add-selection" class="quiet" hidden></button>
<button type="button" id="add-file" class="quiet" hidden></button>
</div>
<textarea id="message" rows="3" aria-label="Message" aria-describedby="keys" placeholder="Ask about your code"></textarea>
<p id="keys" class="hidden">Enter sends, Shift and Enter make a new line, Escape stops a running answer.</p>
<div id="actions">
<p id="notice" role="status"></p>
<button type="submit" id="send">Send</button>
<button type="button" id="stop" hidden>Stop</button>
</div>
</form>
<div id="announcements" class="hidden" role="status" aria-live="polite"></div>
</main>
<script nonce="${sources.nonce}" src="${sources.script}"></script>
</body>
</html>`;
}
