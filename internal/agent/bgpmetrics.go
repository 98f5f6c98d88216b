package agent

import (
	"net"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-net/fairlead/internal/announce/bgp"
	"github.com/fairlead-net/fairlead/internal/announce/bgp/bfd"
)

// bgpMetrics tells how the sessions with routers are, under the names that MetalLB
// gives it.
type bgpMetrics struct{ *routers }

// Describe sends nothing: the routers are known only once there are BGPPeers.
func (m *bgpMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect sends the samples of every session, labelled with the router's address
// and port.
func (m *bgpMetrics) Collect(out chan<- prometheus.Metric) {
	plane := m.current()
	if plane == nil {
		return
	}
	for _, s := range plane.Peers() {
		peer := net.JoinHostPort(s.Address, strconv.Itoa(int(s.Port)))
		send := func(name, help string, kind prometheus.ValueType, value float64) {
			out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, []string{"peer"}, nil), kind, value, peer)
		}
		sessionMetrics(s, send)
		if s.BFD != nil {
			bfdMetrics(s.BFD, send)
		}
	}
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc("fairlead_bfd_dropped_total", "BFD packets that belong to no session or are malformed.", nil, nil),
		prometheus.CounterValue, float64(plane.DroppedBFD()))
}

// sample sends one sample of a session.
type sample func(name, help string, kind prometheus.ValueType, value float64)

func sessionMetrics(s bgp.Status, send sample) {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	send("metallb_bgp_session_up", "Whether there is a session with the router (1) or not (0).", gauge, number(s.Established()))
	send("metallb_bgp_announced_prefixes_total", "Routes that the router is told.", gauge, float64(s.Routes))
	send("metallb_bgp_updates_total", "UPDATE messages sent.", counter, float64(s.Counters.UpdatesSent))
	send("metallb_bgp_updates_total_received", "UPDATE messages received.", counter, float64(s.Counters.UpdatesReceived))
	send("metallb_bgp_opens_sent", "OPEN messages sent.", counter, float64(s.Counters.OpensSent))
	send("metallb_bgp_opens_received", "OPEN messages received.", counter, float64(s.Counters.OpensReceived))
	send("metallb_bgp_notifications_sent", "NOTIFICATION messages sent.", counter, float64(s.Counters.NotificationsSent))
	send("fairlead_bgp_notifications_received_total", "NOTIFICATION messages received.", counter, float64(s.Counters.NotificationsReceived))
	send("metallb_bgp_keepalives_sent", "KEEPALIVE messages sent.", counter, float64(s.Counters.KeepalivesSent))
	send("metallb_bgp_keepalives_received", "KEEPALIVE messages received.", counter, float64(s.Counters.KeepalivesReceived))
	send("metallb_bgp_route_refresh_sent", "ROUTE-REFRESH messages sent.", counter, float64(s.Counters.RefreshesSent))
	send("metallb_bgp_total_sent", "Messages sent.", counter, float64(s.Counters.TotalSent))
	send("metallb_bgp_total_received", "Messages received.", counter, float64(s.Counters.TotalReceived))
	send("fairlead_bgp_session_losses_total", "How often the session was lost.", counter, float64(s.Losses))
}

func bfdMetrics(s *bfd.Session, send sample) {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	send("metallb_bfd_session_up", "Whether BFD sees the router (1) or not (0).", gauge, number(s.State == bfd.Up))
	send("metallb_bfd_control_packet_input", "BFD control packets received.", counter, float64(s.Counters.Received))
	send("metallb_bfd_control_packet_output", "BFD control packets sent.", counter, float64(s.Counters.Sent))
	send("metallb_bfd_session_up_events", "How often the BFD session came up.", counter, float64(s.Counters.Ups))
	send("metallb_bfd_session_down_events", "How often the BFD session was lost.", counter, float64(s.Counters.Downs))
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
