import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Everything comes from the hub itself: no inlined assets (the content security policy forbids them), hashed names.
export default defineConfig({
  plugins: [react(), tailwindcss()],
  build: {
    outDir: "../tokenhub/static/console",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    target: "es2022",
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    proxy: { "/api": "http://127.0.0.1:8080", "/v1": "http://127.0.0.1:8080" },
  },
});
