// A plugin over the upstream stub that does what a scenario tells it, for tests: it logs what it is told as JSON lines,
// adjusts, updates, refuses, sleeps and crashes.
//
//	nri-plugin -index 10 -name test -socket PATH -scenario FILE [-reconnect]
//
// Launched by a runtime it has neither arguments nor files: the scenario is its configuration.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/stub"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Scenario is what the plugin does. Messages are in protobuf's JSON form.
type Scenario struct {
	Log    string          `json:"log"`    // file the events are appended to
	Events []string        `json:"events"` // to subscribe to; none: all
	Hooks  map[string]Step `json:"hooks"`  // by method, Synchronize and Configure among them
}

// Step is what happens in one method, in the order of the fields.
type Step struct {
	Only        string            `json:"only"`  // name of the pod or container it is about; "": any
	Times       int               `json:"times"` // how often, from the first on; 0: always
	Sleep       string            `json:"sleep"` // a duration; it ends with the request's deadline
	Crash       bool              `json:"crash"`
	Refuse      string            `json:"refuse"`
	Unsolicited []json.RawMessage `json:"unsolicited"` // ContainerUpdates to ask for from inside the handler
	Adjust      json.RawMessage   `json:"adjust"`      // ContainerAdjustment
	Update      []json.RawMessage `json:"update"`      // ContainerUpdates; an empty id is that of the container
}

type plugin struct {
	stub     stub.Stub
	lock     sync.Mutex
	scenario Scenario
	calls    map[string]int
}

func main() {
	index := flag.String("index", "", "two digits")
	name := flag.String("name", "", "of the plugin")
	socket := flag.String("socket", "", "of the runtime")
	scenario := flag.String("scenario", "", "file")
	reconnect := flag.Bool("reconnect", false, "connect anew when the runtime goes")
	flag.Parse()
	p := &plugin{calls: map[string]int{}}
	if *scenario != "" {
		text, err := os.ReadFile(*scenario)
		if err == nil {
			err = json.Unmarshal(text, &p.scenario)
		}
		if err != nil {
			fail(err)
		}
	}
	options := []stub.Option{}
	for value, option := range map[*string]func(string) stub.Option{
		index: stub.WithPluginIdx, name: stub.WithPluginName, socket: stub.WithSocketPath,
	} {
		if *value != "" {
			options = append(options, option(*value))
		}
	}
	for {
		err := p.run(options)
		if !*reconnect {
			if err != nil {
				fail(err)
			}
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "nri-plugin:", err)
	os.Exit(1)
}

// run connects and serves until the connection ends.
func (p *plugin) run(options []stub.Option) error {
	made, err := stub.New(p, append(options, stub.WithOnClose(func() {}))...)
	if err != nil {
		return err
	}
	p.stub = made
	return made.Run(context.Background())
}

// step logs an event and does what the scenario has for it.
func (p *plugin) step(ctx context.Context, event string, pod *api.PodSandbox, container *api.Container,
	more map[string]any) (Step, error) {
	p.log(event, pod, container, more)
	p.lock.Lock()
	step, found := p.scenario.Hooks[event]
	if found && step.Only != "" && step.Only != pod.GetName() && step.Only != container.GetName() {
		found = false
	}
	if found {
		p.calls[event]++
		found = step.Times == 0 || p.calls[event] <= step.Times
	}
	p.lock.Unlock()
	if !found {
		return Step{}, nil
	}
	if step.Sleep != "" {
		length, err := time.ParseDuration(step.Sleep)
		if err != nil {
			fail(err)
		}
		select {
		case <-time.After(length):
		case <-ctx.Done():
			return Step{}, ctx.Err()
		}
	}
	if step.Crash {
		os.Exit(7)
	}
	if step.Refuse != "" {
		return Step{}, fmt.Errorf("%s", step.Refuse)
	}
	if len(step.Unsolicited) > 0 {
		failed, err := p.stub.UpdateContainers(updates(step.Unsolicited, ""))
		p.log("UpdateContainers", pod, container, map[string]any{"failed": len(failed), "error": fmt.Sprint(err)})
	}
	return step, nil
}

func (p *plugin) log(event string, pod *api.PodSandbox, container *api.Container, more map[string]any) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.scenario.Log == "" {
		return
	}
	line := map[string]any{"event": event, "time": time.Now().UnixNano()}
	if pod != nil {
		line["pod"] = raw(pod)
	}
	if container != nil {
		line["container"] = raw(container)
	}
	for key, value := range more {
		line[key] = value
	}
	text, err := json.Marshal(line)
	if err != nil {
		fail(err)
	}
	file, err := os.OpenFile(p.scenario.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		fail(err)
	}
	defer file.Close()
	if _, err := file.Write(append(text, '\n')); err != nil {
		fail(err)
	}
}

func raw(message proto.Message) json.RawMessage {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	if err != nil {
		fail(err)
	}
	return text
}

func updates(texts []json.RawMessage, id string) []*api.ContainerUpdate {
	var made []*api.ContainerUpdate
	for _, text := range texts {
		update := &api.ContainerUpdate{}
		if err := protojson.Unmarshal(text, update); err != nil {
			fail(err)
		}
		if update.ContainerId == "" {
			update.ContainerId = id
		}
		made = append(made, update)
	}
	return made
}

// Configure takes a scenario, if the configuration has one, and says which events are wanted.
func (p *plugin) Configure(ctx context.Context, config, runtime, version string) (api.EventMask, error) {
	if config != "" {
		p.lock.Lock()
		err := json.Unmarshal([]byte(config), &p.scenario)
		p.lock.Unlock()
		if err != nil {
			return 0, err
		}
	}
	environment := strings.Join(os.Environ(), "\n")
	more := map[string]any{"runtime": runtime, "version": version, "environment": environment, "arguments": os.Args[1:]}
	if _, err := p.step(ctx, "Configure", nil, nil, more); err != nil {
		return 0, err
	}
	return api.ParseEventMask(p.scenario.Events...)
}

// Synchronize logs how many there are, and which.
func (p *plugin) Synchronize(ctx context.Context, pods []*api.PodSandbox, containers []*api.Container) (
	[]*api.ContainerUpdate, error) {
	ids := func(count int, id func(int) string) []string {
		all := make([]string, count)
		for i := range all {
			all[i] = id(i)
		}
		return all
	}
	step, err := p.step(ctx, "Synchronize", nil, nil, map[string]any{
		"pods":       ids(len(pods), func(i int) string { return pods[i].Id }),
		"containers": ids(len(containers), func(i int) string { return containers[i].Id }),
	})
	return updates(step.Update, ""), err
}

// RunPodSandbox and those below do what their step says.
func (p *plugin) RunPodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	_, err := p.step(ctx, "RunPodSandbox", pod, nil, nil)
	return err
}

func (p *plugin) UpdatePodSandbox(ctx context.Context, pod *api.PodSandbox, overhead, resources *api.LinuxResources) error {
	_, err := p.step(ctx, "UpdatePodSandbox", pod, nil, map[string]any{"overhead": raw(overhead), "resources": raw(resources)})
	return err
}

func (p *plugin) PostUpdatePodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	_, err := p.step(ctx, "PostUpdatePodSandbox", pod, nil, nil)
	return err
}

func (p *plugin) StopPodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	_, err := p.step(ctx, "StopPodSandbox", pod, nil, nil)
	return err
}

func (p *plugin) RemovePodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	_, err := p.step(ctx, "RemovePodSandbox", pod, nil, nil)
	return err
}

func (p *plugin) CreateContainer(ctx context.Context, pod *api.PodSandbox, container *api.Container) (
	*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	step, err := p.step(ctx, "CreateContainer", pod, container, nil)
	if err != nil || step.Adjust == nil {
		return nil, updates(step.Update, ""), err
	}
	adjust := &api.ContainerAdjustment{}
	if err := protojson.Unmarshal(step.Adjust, adjust); err != nil {
		fail(err)
	}
	return adjust, updates(step.Update, ""), nil
}

func (p *plugin) PostCreateContainer(ctx context.Context, pod *api.PodSandbox, container *api.Container) error {
	_, err := p.step(ctx, "PostCreateContainer", pod, container, nil)
	return err
}

func (p *plugin) StartContainer(ctx context.Context, pod *api.PodSandbox, container *api.Container) error {
	_, err := p.step(ctx, "StartContainer", pod, container, nil)
	return err
}

func (p *plugin) PostStartContainer(ctx context.Context, pod *api.PodSandbox, container *api.Container) error {
	_, err := p.step(ctx, "PostStartContainer", pod, container, nil)
	return err
}

func (p *plugin) UpdateContainer(ctx context.Context, pod *api.PodSandbox, container *api.Container,
	resources *api.LinuxResources) ([]*api.ContainerUpdate, error) {
	step, err := p.step(ctx, "UpdateContainer", pod, container, map[string]any{"resources": raw(resources)})
	return updates(step.Update, container.GetId()), err
}

func (p *plugin) PostUpdateContainer(ctx context.Context, pod *api.PodSandbox, container *api.Container) error {
	_, err := p.step(ctx, "PostUpdateContainer", pod, container, nil)
	return err
}

func (p *plugin) StopContainer(ctx context.Context, pod *api.PodSandbox, container *api.Container) (
	[]*api.ContainerUpdate, error) {
	step, err := p.step(ctx, "StopContainer", pod, container, nil)
	return updates(step.Update, ""), err
}

func (p *plugin) RemoveContainer(ctx context.Context, pod *api.PodSandbox, container *api.Container) error {
	_, err := p.step(ctx, "RemoveContainer", pod, container, nil)
	return err
}

// ValidateContainerAdjustment rejects where its step refuses.
func (p *plugin) ValidateContainerAdjustment(ctx context.Context, request *api.ValidateContainerAdjustmentRequest) error {
	_, err := p.step(ctx, "ValidateContainerAdjustment", request.GetPod(), request.GetContainer(),
		map[string]any{"adjust": raw(request.GetAdjust()), "owners": raw(request.GetOwners())})
	return err
}
