import { type Channel, Socket } from "phoenix";
import { useEffect, useState } from "react";

/** One user's connection. */
export interface Session {
  user: string;
  token: string;
  socket: Socket;
  /** The user's own topic: notices from all conversations. */
  own: Channel;
}

/** The user whom a token is for. What it says is read, not verified: the server does that. */
export function userOf(token: string): string {
  const [, claims = ""] = token.split(".");
  return JSON.parse(atob(claims.replaceAll("-", "+").replaceAll("_", "/"))).sub;
}

/** Connects while it is mounted. phoenix.js comes back by itself after a lost connection. */
export function useSimurgh(token: string): Session | undefined {
  const [session, setSession] = useState<Session>();
  useEffect(() => {
    const user = userOf(token);
    // By subprotocol: addresses end up in logs, and a token must not.
    const socket = new Socket("/socket", { authToken: token });
    const own = socket.channel(`user:${user}`);
    own.join();
    // Once this turn is over: StrictMode unmounts in it, and a socket that is cut while it opens is a warning.
    const connecting = setTimeout(() => socket.connect());
    setSession({ user, token, socket, own });
    return () => {
      clearTimeout(connecting);
      socket.disconnect();
      setSession(undefined);
    };
  }, [token]);
  return session;
}
