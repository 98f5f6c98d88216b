package lb

import "github.com/fairlead-net/fairlead/internal/desired"

// claim lists the Services that want one Frontend, in order of precedence.
type claim struct{ services []desired.Name }
