package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/stoker-init/stoker/supervisor/incident"
)

// IncidentList is the answer of GET /v1/incidents.
type IncidentList struct {
	Incidents []incident.Summary `json:"incidents"` // the newest first
}

// incidents lists the kept incidents.
func (s *Server) incidents(http.ResponseWriter, *http.Request) (any, error) {
	return IncidentList{s.opts.Backend.Incidents()}, nil
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
