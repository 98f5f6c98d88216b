package shop

import (
	"encoding/json"
	"net/http"
	"sync"
)

// Item is something the shop sells; its price is in cents.
type Item struct {
	Name  string `json:"name"`
	Cents int64  `json:"cents"`
}

func goods() []Item {
	return []Item{{"mooring rope, 20 m", 4900}, {"brass fairlead", 3250}, {"signal lamp", 8900}, {"log book", 1200}}
}

// newCatalogue answers GET /items.
func newCatalogue() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, goods()) })
	return mux
}

// longestBody and mostItems bound what a client can make the cart keep.
const (
	longestBody = 4 << 10
	mostItems   = 100
)

// newCart answers GET, POST and DELETE /cart. There is one cart for all: it is a demo.
func newCart() http.Handler {
	var mu sync.Mutex
	items := []Item{{"brass fairlead", 3250}}
	mux := http.NewServeMux()
	show := func(w http.ResponseWriter) { writeJSON(w, items) }
	mux.HandleFunc("GET /cart", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		show(w)
	})
	mux.HandleFunc("POST /cart", func(w http.ResponseWriter, r *http.Request) {
		var item Item
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, longestBody)).Decode(&item); err != nil {
			http.Error(w, "send an item as JSON: "+err.Error(), http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if len(items) == mostItems {
			http.Error(w, "the cart is full: DELETE it", http.StatusConflict)
			return
		}
		items = append(items, item)
		show(w)
	})
	mux.HandleFunc("DELETE /cart", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		items = []Item{}
		show(w)
	})
	return mux
}
