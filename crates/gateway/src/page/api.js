// What the page asks of the gateway it came from, and of nobody else.

const ASK_MILLIS = 10_000;
// The agent itself gives an index half a minute to do what it is told.
const TELL_MILLIS = 40_000;

/** An answer that is not the one hoped for: its status, 0 if there was none, and why. */
export class Refusal extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

async function call(path, options, limit) {
  let response;
  try {
    response = await fetch(path, {
      cache: "no-store",
      credentials: "same-origin",
      signal: AbortSignal.timeout(limit),
      ...options,
    });
  } catch (error) {
    throw new Refusal(0, error.name === "TimeoutError" ? `no answer within ${limit / 1000} s` : "no connection");
  }
  const text = await response.text().catch(() => "");
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // Something in front of the gateway answered.
  }
  if (response.ok && body !== null) return body;
  const reason = body?.error?.reason ?? (typeof body?.error === "string" ? body.error : null);
  throw new Refusal(response.status || 0, reason ?? `the gateway answered ${response.status}`);
}

const ask = (path) => call(path, {}, ASK_MILLIS);
const index = (name) => `/_slipstream/v1/indices/${encodeURIComponent(name)}`;

export const overview = (wanted) => ask(`/_slipstream/v1/overview?${new URLSearchParams(wanted)}`);
export const details = (name) => ask(index(name));
export const lagOf = (name) => ask(`${index(name)}/lag`);

/** `_pause`, `_resume` or `_stop`. The header is one that a form of another site cannot send. */
export const tell = (name, verb, body = {}) =>
  call(
    `/_plugins/_replication/${encodeURIComponent(name)}/${verb}`,
    {
      method: "POST",
      headers: { "content-type": "application/json", "x-slipstream-page": "1" },
      body: JSON.stringify(body),
    },
    TELL_MILLIS,
  );
