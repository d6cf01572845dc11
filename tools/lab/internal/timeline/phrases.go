package timeline

import (
	"fmt"
	"strings"
)

// Plain words for the spans and events that a change of leaders is made of.
// What has none is shown by its own name and attributes.

// began says that a root span began.
func began(s Span) string {
	switch s.Name {
	case "takeover":
		switch s.Attributes["cause"] {
		case "expired":
			return fmt.Sprintf("last sign of life from %s; its lease runs out", s.Attributes["previous_holder"])
		case "suspected":
			return fmt.Sprintf("last heartbeat from %s", s.Attributes["previous_holder"])
		case "handover":
			return fmt.Sprintf("the record is handed over by %s", s.Attributes["previous_holder"])
		}
	case "handover":
		return "told to stop; hands the record over"
	}
	return s.Name + " begins" + attributes(s.Attributes)
}

// happened says that an event happened within a span.
func happened(s Span, e Event) string {
	switch s.Name + "/" + e.Name {
	case "takeover/take-over possible":
		switch s.Attributes["cause"] {
		case "expired":
			return "lease expired: the record may be taken"
		case "suspected":
			return "heartbeats stopped: the record may be taken"
		case "handover":
			return "the record is handed over: it may be taken"
		}
		return "the record is free: it may be taken"
	case "takeover/leadership published":
		return fmt.Sprintf("leadership event: %s is active in epoch %s", s.Gateway, s.Attributes["epoch"])
	case "takeover/converged":
		return "converged, as route-sync tells"
	}
	return e.Name + attributes(e.Attributes)
}

// ended says that a span ended; what is what it was about, for lines that are
// merged.
func ended(s Span) (text, what string) {
	switch s.Name {
	case "record.compare-and-swap":
		text = recordText(s)
	case "vtep.publish":
		text = "CiliumVTEPConfig written: the nodes' tunnels lead here"
		if s.Attributes["outcome"] != "ok" {
			text = "CiliumVTEPConfig:" + attributes(s.Attributes)
		}
	case "vtep.taken":
		text = "Cilium has taken the new VTEP"
		if node := s.Attributes["node"]; node != "" {
			text = "Cilium on " + node + " has taken the new VTEP"
		}
	case "routes.takeover":
		text = fmt.Sprintf("all %s routes of the VPC lead here", s.Attributes["routes"])
	case "takeover":
		text = "takeover complete"
	case "handover":
		text = "handover complete" + attributes(map[string]string{"reason": s.Attributes["reason"]})
	default:
		action, ok := strings.CutPrefix(s.Name, "ec2.")
		if !ok {
			text = s.Name + attributes(s.Attributes)
			break
		}
		text = action
		if dst := s.Attributes["ec2.destination"]; dst != "" {
			what = dst + " in " + s.Attributes["ec2.route_table"]
		}
	}
	if s.Error != "" {
		text += " FAILED: " + s.Error
	}
	return text, what
}

// recordText says what a write to the leadership record was for.
func recordText(s Span) string {
	for purpose, text := range map[string]string{
		"take-over": "record taken by compare-and-swap, epoch " + s.Attributes["epoch"],
		"converge":  "convergence noted in the record",
		"release":   "record given up",
		"give":      "record given to the successor by compare-and-swap, epoch " + s.Attributes["epoch"],
	} {
		if s.Attributes["purpose"] == purpose && s.Attributes["outcome"] == "swapped" {
			return text
		}
	}
	return s.Name + attributes(s.Attributes)
}
