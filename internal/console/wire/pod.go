package wire

import (
	"net/http"

	"github.com/stoker-init/stoker/internal/access"
)

// Versions answers GET /api: the first that kubectl asks for.
func Versions() any {
	return struct {
		Kind     string   `json:"kind"`
		Versions []string `json:"versions"`
	}{"APIVersions", []string{"v1"}}
}

// Groups answers GET /apis.
func Groups() any {
	return struct {
		Kind       string   `json:"kind"`
		APIVersion string   `json:"apiVersion"`
		Groups     []string `json:"groups"`
	}{"APIGroupList", "v1", []string{}}
}

// Resources answers GET /api/v1.
func Resources() any {
	type resource struct {
		Name         string   `json:"name"`
		SingularName string   `json:"singularName"`
		Namespaced   bool     `json:"namespaced"`
		Kind         string   `json:"kind"`
		Verbs        []string `json:"verbs"`
	}
	return struct {
		Kind         string     `json:"kind"`
		GroupVersion string     `json:"groupVersion"`
		Resources    []resource `json:"resources"`
	}{"APIResourceList", "v1", []resource{{"pods", "pod", true, "Pod", []string{"get"}}}}
}

// Pod is what kubectl exec reads of one.
type Pod struct {
	Kind       string  `json:"kind"`
	APIVersion string  `json:"apiVersion"`
	Metadata   PodMeta `json:"metadata"`
	Spec       struct {
		Containers []PodContainer `json:"containers"`
	} `json:"spec"`
	Status struct {
		Phase string `json:"phase"`
	} `json:"status"`
}

// PodMeta names a pod.
type PodMeta struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace"`
	Annotations map[string]string `json:"annotations"`
}

// PodContainer is a container of a pod.
type PodContainer struct {
	Name string `json:"name"`
}

// NewPod returns the pod of this container under any name. kubectl takes the first of the containers where it is given none, and
// refuses one that is not among them.
func NewPod(namespace, name string, containers []string) Pod {
	if len(containers) == 0 {
		containers = []string{"stoker"}
	}
	p := Pod{Kind: "Pod", APIVersion: "v1", Metadata: PodMeta{name, namespace,
		map[string]string{"kubectl.kubernetes.io/default-container": containers[0]}}}
	for _, c := range containers {
		p.Spec.Containers = append(p.Spec.Containers, PodContainer{c})
	}
	p.Status.Phase = "Running"
	return p
}

// RefuseSPDY answers the request by which kubectl repeats a refused websocket, and whose answer it shows: with what is wrong with
// the request, if anything is.
func (s *Server) RefuseSPDY(_ http.ResponseWriter, r *http.Request) error {
	req, err := parseQuery(r.URL.RawQuery, pod)
	if err == nil {
		err = s.check(req.spec, access.Of(r.Context()))
	}
	if err == nil {
		err = fault("Upgrade", "SPDY is not spoken: use a websocket (kubectl 1.30 or later)")
	}
	return err
}
