// Package waf checks requests and answers by rules of ModSecurity, which Coraza
// evaluates, and by the core rule set of OWASP.
//
// In go texts of users with directives of ModSecurity; out come Rules, or an error that
// names the line and what is wrong with it. A Check of a request takes its parts and
// gives Verdicts. A text is read here first, by closed lists of directives, operators,
// actions and of what ctl changes, since whoever may edit an Ingress writes it: what
// names files, runs programs, reaches the network or changes the process is refused, as
// is everything unknown. Coraza gets what has been read, line by line, not the text.
//
// A Compiler has texts compiled in the background, one at a time, the namespaces in turn;
// what is changed at the same time does not wait for it. Who gets a place is decided by
// the caller.
//
// The package opens no file and no socket, and writes no log: who has a Check says what
// becomes of its Report.
package waf
