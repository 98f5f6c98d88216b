package nginx

import "github.com/fairlead-net/fairlead/internal/l7/filter"

// mirrorReaders are the annotations about copies of requests; all are read together.
func mirrorReaders() map[string]reader {
	return map[string]reader{"mirror-target": {nothing, false}, "mirror-host": {nothing, false}, "mirror-request-body": {nothing, false}}
}

// mirror reads them. A wrong one means no copies.
func (r *report) mirror(given map[string]string) {
	text := given["mirror-target"]
	if text == "" {
		return
	}
	m := &filter.Mirror{Body: given["mirror-request-body"] != "off"}
	var host Options
	var err error
	if m.URL, err = filter.ParseTemplate(text); err == nil {
		err = urlTemplate(m.URL)
	}
	if err != nil {
		r.wrong("mirror-target", text, false, err)
		return
	}
	if name := given["mirror-host"]; name != "" {
		if err := readHost(name, &host); err != nil {
			r.wrong("mirror-host", name, false, err)
			return
		}
		m.Host = host.UpstreamHost
	}
	r.options.Filters.Mirror = m
}
