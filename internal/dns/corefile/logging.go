package corefile

import (
	"regexp"
	"strings"
	"time"
)

// Errors is the directive errors: failures are logged.
type Errors struct {
	// Consolidate are the failures that are summed up; the first one that matches counts.
	Consolidate []Consolidate
}

// Consolidate sums up failures whose text matches.
type Consolidate struct {
	Period  time.Duration
	Pattern *regexp.Regexp
	// Level is debug, info, warning or error.
	Level string
	// ShowFirst logs the first one of a period all the same.
	ShowFirst bool
}

// Log is the directive log: queries are logged.
type Log struct {
	// Zones are those whose names are meant, and Classes the answers: all, success, denial
	// or error.
	Zones, Classes []string
	// Format has words in braces for what is known of a query and its reply.
	Format string
}

// The formats of CoreDNS's plugin/log.
const (
	commonFormat   = `{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" {rcode} {>rflags} {rsize} {duration}`
	combinedFormat = commonFormat + ` "{>opcode}"`
)

// Effect implements Setting.
func (Errors) Effect() string {
	return "queries for which other servers do not answer are logged"
}

// Effect implements Setting.
func (Log) Effect() string {
	return "queries are logged, some of them if there are more than can be written"
}

// readErrors follows CoreDNS's plugin/errors.
func readErrors(l *line) Setting {
	var e Errors
	if l.takes(0, 1, "[stdout]") {
		l.choice(0, "stdout")
	}
	l.options(options{
		"consolidate": func(o *line) {
			if !o.takes(2, 4, "DURATION REGEXP [LEVEL] [show_first]") {
				return
			}
			c := Consolidate{Period: o.duration(0, 1), Pattern: o.regexp(1), Level: "error"}
			next := 2
			if text := o.text(next); text != "" && text != "show_first" {
				c.Level = o.choice(next, "error", "warning", "info", "debug")
				next++
			}
			if next < len(o.args()) {
				c.ShowFirst = o.choice(next, "show_first") != ""
			}
			if next+1 < len(o.args()) {
				o.mistake("%s: %q comes after the last word; write [LEVEL] [show_first]", o.path, o.text(next+1))
			}
			e.Consolidate = append(e.Consolidate, c)
		},
		"stacktrace": func(o *line) { o.takes(0, 0, "") },
	})
	return e
}

// readLog follows CoreDNS's plugin/log.
func readLog(l *line) Setting {
	log := Log{Format: commonFormat}
	names := l.args()
	if last := len(names) - 1; last > 0 && strings.Contains(names[last].Text, "{") {
		log.Format = strings.NewReplacer("{common}", commonFormat, "{combined}", combinedFormat).Replace(names[last].Text)
		names = names[:last]
	}
	for _, w := range names[:min(len(names), maxArguments)] {
		zones, err := parseZone(w.Text)
		if err != nil {
			l.mistake("log: %v", err)
		}
		log.Zones = append(log.Zones, zones...)
	}
	if len(names) == 0 {
		log.Zones = []string{"."}
	}
	if strings.Contains(log.Format, "{/") {
		l.lacks("log values")
	}
	l.options(options{"class": func(o *line) {
		o.takes(1, -1, "CLASS...")
		for i := range o.args() {
			log.Classes = append(log.Classes, o.choice(i, "all", "success", "denial", "error"))
		}
	}})
	if len(log.Classes) == 0 {
		log.Classes = []string{"all"}
	}
	return log
}
