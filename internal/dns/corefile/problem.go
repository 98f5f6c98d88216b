package corefile

import (
	"errors"
	"fmt"
	"slices"

	"github.com/fairlead-net/fairlead/internal/config"
)

// Position is a line of a file. Lines count from 1.
type Position struct {
	File string `json:"file"`
	Line int    `json:"line"`
}

func (p Position) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Kind says whose limit a Problem is.
type Kind string

// The kinds of Problems.
const (
	// Mistake is what CoreDNS would refuse as well.
	Mistake Kind = "mistake"
	// Unknown is a directive or an option that CoreDNS does not have.
	Unknown Kind = "unknown"
	// Unsupported is what CoreDNS does and Fairlead does not.
	Unsupported Kind = "unsupported"
)

// Problem is one thing that keeps a Corefile from being followed to the letter.
type Problem struct {
	Position
	Kind Kind `json:"kind"`
	// Message says what is wrong and what to do, or what happens instead.
	Message string `json:"message"`
}

func (p Problem) Error() string { return fmt.Sprintf("%s: %s", p.Position, p.Message) }

func mistake(at Position, format string, args ...any) Problem {
	return Problem{at, Mistake, fmt.Sprintf(format, args...)}
}

// asProblem returns the Problem that an error of this package is.
func asProblem(err error) *Problem {
	var p Problem
	if !errors.As(err, &p) {
		p = Problem{Kind: Mistake, Message: err.Error()}
	}
	return &p
}

// suggest returns a question after the likeliest of the known words, or no text.
func suggest(word string, known []string) string {
	best, fewest := "", 3
	slices.Sort(known)
	for _, k := range known {
		if edits := config.Distance(word, k); edits < fewest && edits < len(k) {
			best, fewest = k, edits
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}
