package conformance

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"slices"
)

// Run is everything that a report says.
type Run struct {
	// Plane is what resolved Services; Kubernetes the suite's version; Nodes how many could run pods.
	Plane, Kubernetes string
	Nodes             int
	Results           []Result
	Excluded          []Excluded
}

// The JUnit schema, as far as it is used: https://github.com/testmoapp/junitxml.
type (
	junitSuites struct {
		XMLName xml.Name   `xml:"testsuites"`
		Suite   junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Failure *junitMessage `xml:"failure"`
		Skipped *junitMessage `xml:"skipped"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
	}
)

// JUnit is the report as a file: one line or three a spec, in alphabetical order, without times, addresses
// and output, so that a difference between two files is a difference of results.
func JUnit(r Run) ([]byte, error) {
	suite := junitSuite{
		Name: "Kubernetes end-to-end suite, sig-network, service data plane " + r.Plane,
		Properties: []junitProperty{
			{"kubernetes", r.Kubernetes}, {"serviceDataplane", r.Plane}, {"workers", fmt.Sprint(r.Nodes)},
		},
	}
	for _, result := range r.Results {
		c := junitCase{Class: "sig-network", Name: result.Spec}
		switch result.State {
		case Passed:
		case Skipped:
			c.Skipped = &junitMessage{"by itself: " + result.Message}
			suite.Skipped++
		case Failed:
			c.Failure = &junitMessage{result.Message}
			suite.Failures++
		}
		suite.Cases = append(suite.Cases, c)
	}
	for _, e := range r.Excluded {
		suite.Skipped++
		suite.Cases = append(suite.Cases, junitCase{
			Class: "sig-network", Name: e.Spec, Skipped: &junitMessage{"excluded: " + e.Reason},
		})
	}
	suite.Tests = len(suite.Cases)
	slices.SortFunc(suite.Cases, func(a, b junitCase) int { return cmp.Compare(a.Name, b.Name) })
	text, err := xml.MarshalIndent(junitSuites{Suite: suite}, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode the JUnit report: %w", err)
	}
	return append([]byte(xml.Header), append(text, '\n')...), nil
}
