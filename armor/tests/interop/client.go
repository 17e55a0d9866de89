// A client of the official Go SDK.
//
// Prints each outcome as a line of JSON; check.py has the forms. Exits with 0 also for a refusal, which is an outcome.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const deadline = time.Minute

// withKey adds the API key to every request.
type withKey string

func (key withKey) RoundTrip(request *http.Request) (*http.Response, error) {
	if key != "" {
		request = request.Clone(request.Context())
		request.Header.Set("Authorization", "Bearer "+string(key))
	}
	return http.DefaultTransport.RoundTrip(request)
}

func say(outcome string, fields map[string]any) {
	fields["outcome"] = outcome
	if err := json.NewEncoder(os.Stdout).Encode(fields); err != nil {
		log.Fatal(err)
	}
}

func main() {
	url := flag.String("url", "", "where the pool is")
	key := flag.String("api-key", "", "sent as a bearer token")
	list := flag.Bool("list", false, "list the tools first")
	calls := flag.Int("calls", 0, "how often to call the tool")
	tool := flag.String("tool", "", "which tool to call")
	arguments := flag.String("args", "{}", "the arguments of each call, as a JSON object")
	flag.Parse()

	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if err := run(ctx, *url, *key, *list, *calls, *tool, json.RawMessage(*arguments)); err != nil {
		say("refused", map[string]any{"error": err.Error()})
	}
}

func run(ctx context.Context, url, key string, list bool, calls int, tool string, arguments json.RawMessage) error {
	client := mcp.NewClient(&mcp.Implementation{Name: "go", Version: "1.0.0"}, nil)
	transport := &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: &http.Client{Transport: withKey(key)}}
	session, err := client.Connect(ctx, transport, nil)
	if err != nil {
		return err
	}
	defer session.Close()
	if list {
		listed, err := session.ListTools(ctx, nil)
		if err != nil {
			return err
		}
		names := []string{}
		for _, tool := range listed.Tools {
			names = append(names, tool.Name)
		}
		say("tools", map[string]any{"tools": names})
	}
	for range calls {
		result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
		var refusal *jsonrpc.Error
		if errors.As(err, &refusal) {
			say("error", map[string]any{"code": refusal.Code, "message": refusal.Message})
			continue
		}
		if err != nil {
			return err
		}
		text, ok := result.Content[0].(*mcp.TextContent)
		if !ok {
			return errors.New("the result is no text")
		}
		say("result", map[string]any{"text": text.Text, "isError": result.IsError})
	}
	return nil
}
