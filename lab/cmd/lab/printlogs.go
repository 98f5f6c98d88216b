package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fairlead-net/fairlead/lab/layout"
)

// printLogs works on a lab that is down, too: its logs stay until the next one starts.
func printLogs(out io.Writer, l layout.Layout, names []string) error {
	top := l.Logs("")
	if len(names) == 2 {
		f, err := os.Open(filepath.Join(top, filepath.Base(names[0]), filepath.Base(names[1])+".log"))
		if err != nil {
			return fmt.Errorf("no such log (`lab logs` lists them): %w", err)
		}
		defer f.Close()
		_, err = io.Copy(out, f)
		return err
	}
	if len(names) == 1 {
		top = l.Logs(filepath.Base(names[0]))
	}
	return filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("no logs there (`lab logs` lists them): %w", err)
		}
		if d.IsDir() {
			return nil
		}
		machine := filepath.Base(filepath.Dir(path))
		_, err = fmt.Fprintf(out, "%s %s\n", machine, strings.TrimSuffix(d.Name(), ".log"))
		return err
	})
}
