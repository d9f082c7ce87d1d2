/** The small shared components: button, pill, progress, fact, notice, table frame, theme switch. Dialog.tsx and
 *  LossChart.tsx are the larger ones. */
import type { ButtonHTMLAttributes, ComponentChildren } from 'preact'
import { Icon, type IconName, Pot } from './Icon.tsx'
import { strings } from './strings.ts'
import { chooseTheme, THEME_CHOICES, themeChoice } from './theme.ts'

export type Tone = 'ok' | 'info' | 'neutral' | 'warn' | 'danger'

interface ButtonProps extends Omit<ButtonHTMLAttributes<HTMLButtonElement>, 'icon' | 'size'> {
  kind?: 'plain' | 'primary' | 'danger'
  size?: 'normal' | 'small' | 'large'
  icon?: IconName
}

export function Button({ kind = 'plain', size = 'normal', icon, children, type, ...rest }: ButtonProps) {
  return (
    <button {...rest} type={type ?? 'button'} class={`button button-${kind} button-${size}`}>
      {icon !== undefined && <Icon name={icon} />}
      <span>{children}</span>
    </button>
  )
}

interface PillProps {
  tone: Tone
  icon: IconName
  children: ComponentChildren
}

/** Icon, word and colour together: colour alone says nothing. */
export function Pill({ tone, icon, children }: PillProps) {
  return (
    <span class={`pill tone-${tone}`}>
      <Icon name={icon} />
      {children}
    </span>
  )
}

/** `text` is read instead of a percentage: "step 120 of 500". */
export function Progress({ value, max, text }: { value: number; max: number; text: string }) {
  return (
    <progress
      class="progress"
      value={Math.min(value, max)}
      max={max > 0 ? max : 1}
      aria-label={text}
      aria-valuetext={text}
    />
  )
}

interface FactProps {
  label: string
  children: ComponentChildren
  note?: ComponentChildren
  testid?: string
  value?: string | number
}

/** One number with its name, inside a `<dl class="facts">`. `value` goes to data-value, plain. */
export function Fact({ label, children, note, testid, value }: FactProps) {
  return (
    <div class="fact">
      <dt>{label}</dt>
      <dd data-testid={testid} data-value={value}>
        {children}
        {note !== undefined && <div class="note">{note}</div>}
      </dd>
    </div>
  )
}

export function Notice({ tone, icon, children }: PillProps) {
  return (
    <div class={`notice tone-${tone}`}>
      <Icon name={icon} />
      <div>{children}</div>
    </div>
  )
}

interface TableProps {
  caption: string
  columns: readonly { name: string; numeric?: boolean; pinned?: boolean }[]
  children: ComponentChildren
  /** Shown in place of rows. */
  empty?: string | undefined
}

/** A real table in its own scroll container; rows are the caller's. */
export function Table({ caption, columns, children, empty }: TableProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scroll container must be reachable by keyboard
    <section class="table-scroll" tabIndex={0} aria-label={caption}>
      <table class="table">
        <caption class="visually-hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <th
                key={column.name}
                scope="col"
                class={column.numeric ? 'numeric' : column.pinned ? 'pinned' : ''}
              >
                {column.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {empty === undefined ? (
            children
          ) : (
            <tr>
              <td class="muted" colSpan={columns.length}>
                {empty}
              </td>
            </tr>
          )}
        </tbody>
      </table>
    </section>
  )
}

interface SegmentedProps<T extends string> {
  legend: string
  name: string
  options: readonly { value: T; label: string }[]
  value: T
  onChange(value: T): void
}

/** A row of radio buttons that looks like one switch. */
export function Segmented<T extends string>({ legend, name, options, value, onChange }: SegmentedProps<T>) {
  return (
    <fieldset class="segmented">
      <legend class="visually-hidden">{legend}</legend>
      {options.map((option) => (
        <label key={option.value}>
          <input
            type="radio"
            name={name}
            checked={option.value === value}
            onChange={() => onChange(option.value)}
          />
          {option.label}
        </label>
      ))}
    </fieldset>
  )
}

export function ThemeSwitch() {
  const options = THEME_CHOICES.map((value) => ({ value, label: strings.theme[value] }))
  return (
    <Segmented
      legend={strings.theme.legend}
      name="theme"
      options={options}
      value={themeChoice.value}
      onChange={chooseTheme}
    />
  )
}

export function Brand({ href, note }: { href: string; note?: string }) {
  return (
    <a class="brand" href={href}>
      <Pot />
      <span>{strings.appName}</span>
      {note !== undefined && <span class="brand-note">{note}</span>}
    </a>
  )
}
