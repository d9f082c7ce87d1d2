// Runs before the first paint, so that a chosen theme does not flash. The switch itself is client/ui/theme.ts.
try {
  const choice = localStorage.getItem('potluck.theme')
  if (choice === 'light' || choice === 'dark') document.documentElement.dataset.theme = choice
} catch {
  // Storage is blocked: the system's theme it is.
}
