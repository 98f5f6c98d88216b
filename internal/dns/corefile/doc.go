// Package corefile reads the Corefile, CoreDNS's configuration, and says what
// Fairlead makes of it.
//
// In go the text of the file and functions that know environment variables and
// imported files. Parse gives the File: server blocks and statements, with
// snippets, imports and variables put in place, every word with its file and
// line. Read gives from this the Config: typed directives, each of which can
// say its effect, together with Problems. A Problem is a mistake that CoreDNS
// refuses too, a word that CoreDNS does not know, or something that CoreDNS
// does and Fairlead does not; the table lacking in support.go lists the latter.
//
// The syntax is that of github.com/coredns/caddy (caddyfile), with these
// differences: a quoted brace is a word, not a brace; a snippet or an imported
// file holds whole statements; a variable without value and a quote without end
// are mistakes; a backslash by itself at the end of a line continues it; and
// import of a snippet may have arguments, {args[0]} and so on, as in Caddy 2.
//
// The package opens no file, reads no environment and asks no server; it never
// panics on what it is given, and its work is bounded by the limits in lex.go.
package corefile
