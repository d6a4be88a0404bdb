import path from 'node:path'

/**
 * A static shell: everything it shows comes from the browser's own requests.
 * BASE_PATH is where it is served, "/chat" unless it says otherwise; empty for the root.
 */
const basePath = (process.env.BASE_PATH ?? '/chat').replace(/\/+$/, '')

export default {
  output: 'export',
  basePath,
  trailingSlash: true,
  poweredByHeader: false,
  images: { unoptimized: true },
  env: { NEXT_PUBLIC_BASE_PATH: basePath },
  // The SDK lies beside the app.
  turbopack: { root: path.resolve(import.meta.dirname, '..') },
}
