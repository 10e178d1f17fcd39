import react from "@vitejs/plugin-react";
import { defineConfig, loadEnv } from "vite";

export default defineConfig(({ mode }) => {
  const { SIMURGH_URL = "http://127.0.0.1:4000" } = loadEnv(mode, ".", "SIMURGH_");
  // The page and the server under one address, as behind a load balancer.
  const proxy = { "/api": SIMURGH_URL, "/socket": { target: SIMURGH_URL, ws: true } };
  return { plugins: [react()], server: { proxy }, preview: { proxy } };
});
