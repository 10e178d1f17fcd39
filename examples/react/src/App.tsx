import { type FormEvent, useEffect, useState } from "react";

import { Chat } from "./Chat";
import { call } from "./simurgh/calls";
import type { Conversation } from "./simurgh/protocol";
import { useSimurgh, userOf } from "./simurgh/useSimurgh";

/** The field of a form that was submitted. */
function submitted(event: FormEvent<HTMLFormElement>, field: string): string {
  event.preventDefault();
  return String(new FormData(event.currentTarget).get(field)).trim();
}

export function App() {
  // This tab's, and no other's: in each one it can be somebody else.
  const [token, setToken] = useState(() => sessionStorage.getItem("token") ?? "");
  useEffect(() => sessionStorage.setItem("token", token), [token]);
  return token ? <Home key={token} token={token} leave={() => setToken("")} /> : <SignIn signedIn={setToken} />;
}

/** In an app of yours, the token comes from your own sign-in. */
function SignIn({ signedIn }: { signedIn: (token: string) => void }) {
  const [problem, setProblem] = useState("");
  async function signIn(token: string) {
    try {
      userOf(token);
      await call(token, "GET", "/contacts");
      signedIn(token);
    } catch (error) {
      setProblem(`The server does not take this token: ${(error as Error).message}`);
    }
  }
  return (
    <main>
      <h1>Simurgh in React</h1>
      <form onSubmit={(event) => signIn(submitted(event, "token"))}>
        <label htmlFor="token">Token</label>
        <textarea id="token" name="token" rows={4} required />
        <p>
          The local stack prints some when it starts, for alice, bob and carol; <code>cargo run -- token NAME</code> makes others.
        </p>
        <button>Sign in</button>
      </form>
      <p role="alert">{problem}</p>
    </main>
  );
}

function Home({ token, leave }: { token: string; leave: () => void }) {
  const session = useSimurgh(token);
  const conversation = useHash();
  const [problem, setProblem] = useState("");

  /** The pair's one conversation: asking again gives the same one. */
  async function open(other: string) {
    try {
      const { id } = await call<Conversation>(token, "POST", "/conversations", { type: "direct", member_ids: [other] });
      location.hash = id;
      setProblem("");
    } catch (error) {
      setProblem((error as Error).message);
    }
  }

  return (
    <main>
      <header>
        <h1>{userOf(token)}</h1>
        <button onClick={leave}>Sign out</button>
      </header>
      <form className="row" onSubmit={(event) => open(submitted(event, "other"))}>
        <label htmlFor="other">Chat with</label>
        <input id="other" name="other" autoComplete="off" autoCapitalize="none" required />
        <button>Open</button>
      </form>
      <p role="alert">{problem}</p>
      {session && conversation && <Chat key={conversation} session={session} id={conversation} />}
    </main>
  );
}

/** The conversation that is open stands in the address: a reload, or a link, leads there. */
function useHash() {
  const [hash, setHash] = useState(() => location.hash.slice(1));
  useEffect(() => {
    const changed = () => setHash(location.hash.slice(1));
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return hash;
}
