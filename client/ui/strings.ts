/**
 * Every sentence of both pages, by name, in the reader's language. One table per language: a new language is a
 * file beside english.ts of type `Strings`. Numbers come formatted, or as numbers where grammar needs them.
 */
import { english } from './english.ts'

export type Strings = typeof english

export const strings: Strings = english
