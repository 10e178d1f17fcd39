// Where a user's token comes from: signed here, which only a local stack allows, or pasted.

const LIFETIME_S = 12 * 60 * 60;

const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const bytes = (text) => new TextEncoder().encode(text);

/** Signs tokens for any user. In production your own sign-in does this, on a server: a secret is never in a page. */
export class Minted {
  text = "";
  renewable = true;

  /** `signing` is what `/demo.json` says: `{secret, issuer, audience}`. */
  constructor(user, { user_claim, signing }) {
    Object.assign(this, { user, claim: user_claim, signing });
  }

  async renew() {
    const { secret, issuer, audience } = this.signing;
    const now = Math.floor(Date.now() / 1000);
    this.expiresAt = (now + LIFETIME_S) * 1000;
    const claims = {
      [this.claim]: this.user, iat: now - 5, exp: now + LIFETIME_S,
      ...(issuer ? { iss: issuer } : {}), ...(audience ? { aud: audience } : {}),
    };
    const signed = [{ alg: "HS256", typ: "JWT" }, claims].map((part) => base64url(bytes(JSON.stringify(part)))).join(".");
    const key = await crypto.subtle.importKey("raw", bytes(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    this.text = `${signed}.${base64url(new Uint8Array(await crypto.subtle.sign("HMAC", key, bytes(signed))))}`;
    return this;
  }
}

/** A token that somebody else signed. What it says is read, not verified: the gateway does that. */
export class Pasted {
  renewable = false;

  /** Throws where this is no user's token. */
  constructor(text, { user_claim }) {
    this.text = text.trim().replace(/^Bearer\s+/i, "");
    let claims;
    try {
      const body = this.text.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
      claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(body), (char) => char.charCodeAt(0))));
    } catch {
      throw new Error("This is not a JSON Web Token.");
    }
    this.user = claims[user_claim];
    this.expiresAt = claims.exp * 1000;
    if (typeof this.user !== "string") throw new Error(`This token names no user in its claim “${user_claim}”.`);
    if (this.expiresAt < Date.now()) throw new Error("This token has expired.");
  }

  async renew() {
    return this;
  }
}
