// The function's environment, parsed once as it loads. Messages name the variable and never show its value.

const SHORTEST_TOKEN = 24;
const LONGEST_TOKEN = 512;
// Every token that is known is compared with the one that came.
const MOST_TOKENS = 5;

export interface Settings {
  /** Whoever presents one of them may propose; null where the door is shut, because none is set. */
  tokens: string[] | null;
}

/** Reads the door's settings; throws an Error whose message says which variable to set, and to what. */
export function readSettings(env: Record<string, string | undefined>): Settings {
  const text = env.GOLD_REPLIES_TOKEN;
  // Not an error: the functions share one environment, and the other one must start without it.
  if (text === undefined || text.trim() === "") return { tokens: null };

  const fault = (what: string) =>
    new Error(`GOLD_REPLIES_TOKEN is malformed: ${what}. Example: <current token>,<previous token>`);
  const tokens = text.split(",").map((token) => token.trim());
  if (tokens.length > MOST_TOKENS) throw fault(`it holds ${tokens.length} tokens, and ${MOST_TOKENS} are allowed`);
  for (const token of tokens) {
    if (token.length < SHORTEST_TOKEN) throw fault(`a token has at least ${SHORTEST_TOKEN} characters`);
    if (token.length > LONGEST_TOKEN) throw fault(`a token has at most ${LONGEST_TOKEN} characters`);
    // What RFC 6750 lets stand behind the word Bearer.
    if (!/^[A-Za-z0-9._~+/-]+=*$/.test(token)) throw fault("a token holds letters, digits and . _ ~ + / - only");
  }
  if (new Set(tokens).size < tokens.length) throw fault("it holds a token twice");
  return { tokens };
}
