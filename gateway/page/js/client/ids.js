// Names of things. `crypto.randomUUID` exists in secure contexts only, and this page may be served without TLS.

/** A random UUID, version 4. */
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

const USER_ID = /^[A-Za-z0-9][A-Za-z0-9_\-.:@|+]{0,63}$/;

/** Whether a user may be called so. What every object has, as `constructor`, is no name: it breaks maps. */
export const isUserId = (text) => USER_ID.test(text) && !(text in Object.prototype);

/** What is said where it is none. */
export const NO_USER_ID = "A name has 1 to 64 of the characters A-Z a-z 0-9 _ - . : @ | + and begins with a letter or digit.";
