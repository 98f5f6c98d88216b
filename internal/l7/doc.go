// Package l7 decides where a request goes.
//
// In goes a desired.State; Compile makes of its Ingresses (and, later, of every
// other kind of route) a Table, at the cost of what changed since the previous
// one. In goes a Request; Routes.Match says, from the Table alone, which Route it
// takes. Explain gives the same decision with the rules that lost, and why.
//
// Match is a function of the Table and the Request: the order in which objects
// were made or read plays no part but where an API demands that the older one
// wins.
//
// Endpoints are apart from routes: a Route names its Backends, and a change of
// endpoints makes another Backend, never another Route.
//
// Texts of rules of ModSecurity are compiled beside that, by a waf.Compiler; what they
// become gets into a Table that is there already, and the next Compile says what is wrong
// with them; until then what was in force before stays so. But for that the Table and the Reasons depend on the State and the Config
// alone.
//
// The package opens no socket, reads no clock, and keeps nothing between calls. No
// string of a user is ever a program: what it cannot read as data, it refuses at
// the object.
package l7
