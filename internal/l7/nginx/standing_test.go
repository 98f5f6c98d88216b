package nginx

import "testing"

// TestStanding holds that what is said about annotations is what Read does with them.
func TestStanding(t *testing.T) {
	for _, a := range Annotations() {
		o, problems := Read(annotated(a.Name, "\x00"))
		var about []Problem
		for _, p := range problems {
			if p.Annotation == "" {
				t.Errorf("%s: a problem with no annotation: %s", a.Name, p.Message)
			}
			if p.Annotation == a.Name {
				about = append(about, p)
			}
		}
		unknown := len(about) == 1 && about[0].Code == "AnnotationUnsupported"
		switch a.Standing {
		case Followed:
			if unknown {
				t.Errorf("%s: %v", a.Name, about)
			}
		case Needless, LeftOut:
			if len(about) != 1 || o.Closed || about[0].Closes || a.Standing == LeftOut != unknown {
				t.Errorf("%s is %s: %v, closed %t", a.Name, a.Standing, about, o.Closed)
			}
		case Refused:
			if !unknown || !o.Closed || !about[0].Closes {
				t.Errorf("%s is refused: %v, closed %t", a.Name, about, o.Closed)
			}
		case Differs:
			if unknown || a.Note == "" {
				t.Errorf("%s: %v %q", a.Name, about, a.Note)
			}
		}
	}
	for name := range differences() {
		if a := About(name); a.Standing != Differs {
			t.Errorf("%s is %s, though it differs", name, a.Standing)
		}
	}
	for _, said := range []map[string]string{differences(), details()} {
		for name := range said {
			if a := About(name); a.Standing == LeftOut || a.Standing == Refused {
				t.Errorf("%s is %s, so there is nothing to say about its values", name, a.Standing)
			}
		}
	}
}
