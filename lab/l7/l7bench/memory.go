package main

import (
	"fmt"
	"time"
)

// sizes measures what proxies have in memory, each started anew for it.
func (w *world) sizes(r *report) error {
	for _, name := range w.names() {
		what := "l7-idle-10k"
		if name != "fairlead" {
			what += "-" + name
		}
		fresh, idle, err := w.idleMemory(name)
		if err != nil {
			return fmt.Errorf("idle connections of %s: %w", name, err)
		}
		r.figure(what, series{idle}, "MB", fmt.Sprintf("memory with %d idle connections, each of which was answered once; %s MB before the first", w.idle, digits(fresh)))
		what = "l7-routes-5k"
		if name != "fairlead" {
			what += "-" + name
		}
		many, err := w.routesMemory(name)
		if err != nil {
			return fmt.Errorf("routes of %s: %w", name, err)
		}
		r.figure(what, series{many}, "MB", fmt.Sprintf("memory with %d routes, each of a host and a backend of its own, after two requests", w.routes))
	}
	return nil
}

const mega = 1e6

// idleMemory returns what a proxy has in memory before and after many connections,
// in megabytes.
func (w *world) idleMemory(name string) (before, after float64, err error) {
	p, err := w.launch(name, 1)
	if err != nil {
		return 0, 0, err
	}
	defer w.end(p)
	if before, err = p.memory(); err != nil {
		return 0, 0, err
	}
	t := rows()[0].of(p)
	t.connections = w.idle
	idle := &load{loop: w.loop, task: t}
	defer idle.close()
	if err := idle.connect(); err != nil {
		return 0, 0, err
	}
	if err := idle.once(); err != nil {
		return 0, 0, err
	}
	if err := w.beside(func() error { time.Sleep(time.Second); return nil }); err != nil {
		return 0, 0, err
	}
	after, err = p.memory()
	return before / mega, after / mega, err
}

// once has every connection ask once, underWay of them at a time.
func (l *load) once() error {
	left := l.idle.length
	l.heard = time.Now()
	for left > 0 || l.open > 0 {
		for left > 0 && l.open < underWay {
			c := l.idle.pop()
			c.ask(time.Now())
			if err := c.flush(); err != nil {
				return err
			}
			left, l.open = left-1, l.open+1
		}
		before := l.open
		if err := l.turn(int(patience.Milliseconds())); err != nil {
			return err
		}
		if l.open == before && time.Since(l.heard) > patience {
			return fmt.Errorf("%d requests have got no answer", l.open)
		}
	}
	return nil
}

// routesMemory returns what a proxy with many routes has in memory, in megabytes.
func (w *world) routesMemory(name string) (float64, error) {
	p, err := w.launch(name, w.routes)
	if err != nil {
		return 0, err
	}
	defer w.end(p)
	used, err := p.memory()
	return used / mega, err
}
