/**
 * Builds the two pages into dist/: the volunteer page at dist/index.html, the operator's panel at
 * dist/admin/index.html, everything else hashed under dist/assets/. Nothing is inlined, so that the pages run
 * under `script-src 'self'; style-src 'self'`. Tests have their own vitest.config.ts.
 */
import { defineConfig, type Plugin } from 'vite'

/** Vite names a page after its source file; the coordinator serves it from where people look for it. */
const PAGES: Record<string, string> = {
  'client/volunteer/index.html': 'index.html',
  'client/admin/index.html': 'admin/index.html',
}

const placePages: Plugin = {
  name: 'potluck:place-pages',
  enforce: 'post',
  generateBundle(_options, bundle) {
    for (const [source, target] of Object.entries(PAGES)) {
      const page = bundle[source]
      if (page === undefined) throw new Error(`the build made no page from ${source}`)
      page.fileName = target
    }
  },
}

export default defineConfig({
  plugins: [placePages],
  // simple-peer's main entry wants Node's streams; its browser bundle brings what it needs.
  resolve: { alias: [{ find: /^simple-peer$/, replacement: 'simple-peer/simplepeer.min.js' }] },
  worker: { format: 'es' },
  build: {
    outDir: 'dist',
    target: 'es2022',
    // The newest thing the style sheets use is light-dark().
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: Object.keys(PAGES) },
  },
})
