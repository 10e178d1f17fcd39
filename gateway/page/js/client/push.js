// A push or a join as a promise.

/** The server said no; `reason` is a code of the contract, `response` the whole refusal. */
export class Refused extends Error {
  constructor(response) {
    super(response.message ?? response.reason ?? "refused");
    this.response = response;
    this.reason = response.reason;
  }
}

/** No answer came: whether the server did it is not known. */
export class Unanswered extends Error {}

/** The ok response; rejects with `Refused` or `Unanswered`. */
export function answer(push) {
  return new Promise((resolve, reject) => {
    push
      .receive("ok", resolve)
      .receive("error", (response) => reject(new Refused(response)))
      .receive("timeout", () => reject(new Unanswered("no answer")));
  });
}
