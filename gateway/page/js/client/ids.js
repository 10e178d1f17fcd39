// Names of things. `crypto.randomUUID` exists in secure contexts only, and this page may be served without TLS.

/** A random UUID, version 4. */
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** What a user may be called. */
export const USER_ID = /^[A-Za-z0-9][A-Za-z0-9_\-.:@|+]{0,63}$/;
