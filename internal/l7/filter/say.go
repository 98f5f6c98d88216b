package filter

import "fmt"

// Says returns what Filters do, a line for each, in words for people.
func (f *Filters) Says() []string {
	if f == nil {
		return nil
	}
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if a := f.Auth; a != nil {
		how := ""
		if a.Any {
			how = ", or another of those who let in"
		}
		if a.Basic != nil {
			say("asks for a password of a user in %s, realm %q%s", a.Basic.Users, a.Basic.Realm, how)
		}
		if e := a.External; e != nil {
			text := fmt.Sprintf("asks %s %s", orGET(e.Method), e.URL)
			if e.SignIn.String() != "" {
				text += ", who is unknown goes to " + e.SignIn.String()
			}
			if e.CacheKey.String() != "" {
				text += ", answers are used again by " + e.CacheKey.String()
			}
			say("%s%s", text, how)
		}
	}
	return lines
}

func orGET(method string) string {
	if method == "" {
		return "GET"
	}
	return method
}
