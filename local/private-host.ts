/** Whether the host is one that only this machine or this network reaches. */
export function isPrivateHost(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, "").toLowerCase();
  return host === "localhost" || !/[.:]/.test(host) ||
    /\.(localhost|local|localdomain|internal|intranet|lan|home|corp|private|home\.arpa)$/.test(host) ||
    /^(0|10|127)\./.test(host) || /^192\.168\./.test(host) || /^172\.(1[6-9]|2\d|3[01])\./.test(host) ||
    /^169\.254\./.test(host) || /^100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\./.test(host) ||
    /^(::1?$|f[cd]|fe[89ab])/.test(host);
}
