package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/events"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// readEventQuery reads n, service and kind.
func readEventQuery(values url.Values) (n int, want events.Filter, err error) {
	want = events.Filter{Services: values["service"], Kinds: values["kind"]}
	if n, err = readCount(values); err != nil {
		return n, want, err
	}
	for _, k := range want.Kinds {
		if !slices.Contains(events.Kinds(), k) {
			return n, want, badRequest("there is no kind of event %q; %s", k, suggest.Hint(k, events.Kinds()))
		}
	}
	return n, want, nil
}

// events answers with the last events as one JSON object a line, or with ?follow as server-sent
// events with the ids of the events.
func (s *Server) events(w http.ResponseWriter, r *http.Request) (any, error) {
	n, want, err := readEventQuery(r.URL.Query())
	if err != nil {
		return nil, err
	}
	journal := s.opts.Events
	var begin []events.Event
	from, resumed := lastEventID(r)
	if resumed {
		from = max(from, 0)
	} else {
		var last uint64
		begin, last = journal.Tail(n, want)
		from = int64(last)
	}
	follow := r.URL.Query().Has("follow")
	first := from
	if len(begin) > 0 {
		first = int64(begin[0].ID) - 1
	}
	out := newStream(w, follow, first)
	whole := access.Of(r.Context()).Grants.Has(access.Admin)
	send := func(e events.Event) error {
		if e.Hook != nil && !whole {
			hook := *e.Hook  // the journal keeps it
			hook.Output = "" // it may hold secrets, like the output in incidents
			e.Hook = &hook
		}
		return out.send(int64(e.ID), e)
	}
	if resumed && !follow {
		begin = journal.Since(uint64(from), want)
	}
	disconnected := slices.ContainsFunc(begin, func(e events.Event) bool { return send(e) != nil })
	if follow && !disconnected {
		_ = journal.Follow(r.Context(), uint64(from), want, send) // ends with the client
	}
	return nil, nil
}

// EventQuery selects events.
type EventQuery struct {
	Following
	events.Filter
	Last int // start with that many
}

// Events calls f for each event.
func (c *Client) Events(ctx context.Context, want *EventQuery, f func(events.Event) error) error {
	v := url.Values{"n": {strconv.Itoa(want.Last)}, "service": want.Services, "kind": want.Kinds}
	return stream(ctx, c, "/v1/events", v, &want.Following, f)
}

// IncidentList is the answer of GET /v1/incidents.
type IncidentList struct {
	Incidents []incident.Summary `json:"incidents"` // the newest first
}

// incident answers with an incident and its evidence. It needs the grant admin: output and
// error reports may hold secrets, from files that only the service's user may read.
func (s *Server) incident(_ http.ResponseWriter, r *http.Request) (any, error) {
	text := r.PathValue("number")
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil, badRequest("%q is not the number of an incident", text)
	}
	i, ok := s.opts.Backend.Incident(number)
	if !ok {
		return nil, Refuse(http.StatusNotFound, "no-such-incident", "stoker incidents lists those that are kept, the last ten",
			"there is no incident %d", number)
	}
	return i, nil
}

// Incidents returns the kept incidents, the newest first.
func (c *Client) Incidents(ctx context.Context) (IncidentList, error) {
	return call[IncidentList](ctx, c, http.MethodGet, "/v1/incidents", nil)
}

// Incident returns an incident with its evidence.
func (c *Client) Incident(ctx context.Context, number uint64) (incident.Incident, error) {
	return call[incident.Incident](ctx, c, http.MethodGet, "/v1/incidents/"+strconv.FormatUint(number, 10), nil)
}
