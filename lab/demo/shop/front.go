package shop

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Where the front page finds the others: by name, in its own namespace.
const (
	catalogueURL    = "http://catalogue/items"
	cartURL         = "http://cart/cart"
	paymentsAddress = "dns:///payments:50051"
)

const callTime = 3 * time.Second

//go:embed page.html
var pages embed.FS

// front is the page that people see; it asks the three services behind it.
type front struct {
	config   Config
	client   *http.Client
	payments *grpc.ClientConn
	page     *template.Template
}

// Section is one service's part of the page, or why it is missing.
type Section struct {
	Items    []Item
	ServedBy string
	Error    string
}

func newFront(c Config) (http.Handler, error) {
	conn, err := grpc.NewClient(paymentsAddress, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("prepare the client of payments: %w", err)
	}
	f := &front{
		config: c, client: &http.Client{Timeout: callTime}, payments: conn,
		page: template.Must(template.New("page.html").Funcs(template.FuncMap{"euros": euros}).ParseFS(pages, "page.html")),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", f.show)
	mux.HandleFunc("GET /checkout", f.checkout)
	return mux, nil
}

func euros(cents int64) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }

// show answers even if the services behind don't: a page that says what is missing beats none.
func (f *front) show(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = f.page.Execute(w, map[string]any{
		"Pod": f.config.Pod, "Node": f.config.Node,
		"Catalogue": f.section(r.Context(), catalogueURL),
		"Cart":      f.section(r.Context(), cartURL),
	})
}

// checkout charges what is in the cart.
func (f *front) checkout(w http.ResponseWriter, r *http.Request) {
	cart := f.section(r.Context(), cartURL)
	if cart.Error != "" {
		http.Error(w, "cart: "+cart.Error, http.StatusBadGateway)
		return
	}
	var sum int64
	for _, item := range cart.Items {
		sum += item.Cents
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	receipt := &wrapperspb.StringValue{}
	if err := f.payments.Invoke(ctx, chargeMethod, wrapperspb.Int64(sum), receipt); err != nil {
		http.Error(w, "payments: "+err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprintln(w, receipt.GetValue())
}

func (f *front) section(ctx context.Context, url string) Section {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Section{Error: err.Error()}
	}
	response, err := f.client.Do(request)
	if err != nil {
		return Section{Error: err.Error()}
	}
	defer response.Body.Close()
	s := Section{ServedBy: response.Header.Get("X-Served-By")}
	if response.StatusCode != http.StatusOK {
		s.Error = response.Status
		return s
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&s.Items); err != nil {
		s.Error = err.Error()
	}
	return s
}
