package launch

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
)

func TestReportIsMasked(t *testing.T) {
	var hide service.Mask
	hide.Add("hunter22")
	from := &Report{JVM: hotspot.JVM{Version: "21"}, Result: jvm.Result{
		Options:  []jvm.Option{{Args: []string{"-Dp=hunter22"}, Replaced: []jvm.Option{{Args: []string{"-Dp=xhunter22"}}}}},
		Warnings: []jvm.Problem{{Message: "hunter22"}}}}
	if text := fmt.Sprintf("%+v", maskedReport(hide, from)); strings.Contains(text, "hunter22") || !strings.Contains(text, "-Dp=***") {
		t.Errorf("masked report: %s", text)
	}
	if from.Result.Options[0].Args[0] != "-Dp=hunter22" {
		t.Error("the command line itself was masked")
	}
}
