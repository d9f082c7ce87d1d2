/**
 * Whether a browser's request comes from our own pages. CORS does not protect WebSockets, and a cookie may be sent
 * by any page of the same site, so both sockets and changing requests are checked. Programs that send no Origin pass.
 */
export function originAllowed(
  origin: string | undefined,
  host: string | undefined,
  publicUrl: string | null,
): boolean {
  if (origin === undefined) return true
  if (publicUrl !== null && origin === new URL(publicUrl).origin) return true
  try {
    return new URL(origin).host === host
  } catch {
    return false
  }
}
