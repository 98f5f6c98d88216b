// Package accesslog writes down requests that have been answered, a line each.
//
// In goes a text with nginx's variables, which Parse reads once, and an Entry for each
// request; out come lines, as JSON or in the words of that text. Append allocates nothing
// beside the line.
//
// The package opens no file and reads no clock. A text of an administrator is never a
// program, and what a client sent never ends a line, a quoted text or a value: control
// characters, quotes and backslashes are escaped, and what is long is cut.
package accesslog
