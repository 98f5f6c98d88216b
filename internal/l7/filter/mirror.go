package filter

// Mirror sends a copy of each request elsewhere, whose answer nobody gets.
type Mirror struct {
	// URL is of http or https. Host is what it is asked for; empty: the URL's.
	URL  Template
	Host string
	// Body: the request's body is sent too.
	Body bool
}

func (m *Mirror) say(s *said) {
	if m != nil {
		s.add("sends copies to %s, host %q, with bodies: %t", m.URL, m.Host, m.Body)
	}
}
