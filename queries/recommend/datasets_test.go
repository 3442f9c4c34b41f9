package recommend

import (
	"bufio"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// datasets returns a folder below CARDLAKE_DATASETS, or skips.
func datasets(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("CARDLAKE_DATASETS")
	if dir == "" {
		t.Skip("CARDLAKE_DATASETS names no folder of public data sets")
	}
	dir = filepath.Join(dir, name)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("CARDLAKE_DATASETS has no folder %s", name)
	}
	return dir
}

// readPairs reads lines of numbers: a user and all of their items, or if triples is set a user,
// an item and more. It returns users, items, and the largest of each plus 1.
func readPairs(t *testing.T, path string, triples bool) (pairs [][2]int, users, items int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if triples && len(fields) > 2 {
			fields = fields[:2]
		}
		user := -1
		for n, s := range fields {
			v, err := strconv.Atoi(s)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				user = v
				continue
			}
			pairs = append(pairs, [2]int{user, v})
			users, items = max(users, user+1), max(items, v+1)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return pairs, users, items
}

func readSplit(t *testing.T, trainFile, testFile string, triples bool) (train, test *Matrix) {
	t.Helper()
	a, users, items := readPairs(t, trainFile, triples)
	b, u, i := readPairs(t, testFile, false)
	users, items = max(users, u), max(items, i)
	return unweighted(t, users, items, a), unweighted(t, users, items, b)
}

func unweighted(t testing.TB, users, items int, pairs [][2]int) *Matrix {
	t.Helper()
	b, err := NewBuilder(users, items)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pairs {
		b.Add(p[0], p[1], 1)
	}
	m, err := b.Matrix()
	if err != nil {
		t.Fatal(err)
	}
	return m.Binary()
}

func TestPublishedFigures(t *testing.T) {
	type figure struct {
		k      int
		metric func(Metrics) float64
		want   float64
	}
	recall := func(m Metrics) float64 { return m.Recall }
	precision := func(m Metrics) float64 { return m.Precision }
	type method struct {
		name    string
		fit     func(*Matrix) (Model, error)
		figures []figure
	}
	ease := func(lambda float64) func(*Matrix) (Model, error) {
		return func(m *Matrix) (Model, error) { return FitEASE(m, lambda) }
	}
	knn := func(c KNNConfig) func(*Matrix) (Model, error) {
		return func(m *Matrix) (Model, error) { return FitItemKNN(m, c) }
	}
	popular := func(m *Matrix) (Model, error) { return FitPopularity(m, nil) }
	for _, set := range []struct {
		name, train, test string
		triples           bool
		methods           []method
	}{
		{"ml-100k-mcrec", "ml-100k.train.rating", "ml-100k.test.rating", true, []method{
			{"popularity", popular, []figure{{10, precision, 0.1907}, {10, recall, 0.1180}}},
			{"EASE", ease(458), []figure{{10, precision, 0.3739}, {10, recall, 0.2430}}},
			{"ItemKNN cosine BM25", knn(KNNConfig{Neighbours: 886, Shrink: 403, Weighting: BM25}), []figure{{10, precision, 0.3293}, {10, recall, 0.2152}}},
			{"ItemKNN dice", knn(KNNConfig{Neighbours: 179, Similarity: Dice}), []figure{{10, precision, 0.3211}, {10, recall, 0.2040}}},
			{"ItemKNN jaccard", knn(KNNConfig{Neighbours: 161, Similarity: Jaccard}), []figure{{10, precision, 0.3177}, {10, recall, 0.2043}}},
			{"ItemKNN asymmetric BM25", knn(KNNConfig{Neighbours: 468, Similarity: Asymmetric, Alpha: 1.5629, Shrink: 706, Weighting: BM25}), []figure{{10, precision, 0.3320}, {10, recall, 0.2171}}},
		}},
		{"ml-1m-spectralcf", "train_users.dat", "test_users.dat", false, []method{
			{"popularity", popular, []figure{{20, recall, 0.0382}, {100, recall, 0.2286}}},
			{"EASE", ease(292), []figure{{20, recall, 0.0956}, {40, recall, 0.1563}, {100, recall, 0.2651}}},
			{"ItemKNN cosine TF-IDF", knn(KNNConfig{Neighbours: 615, Weighting: TFIDF}), []figure{{20, recall, 0.0676}, {40, recall, 0.1217}, {100, recall, 0.2326}}},
			{"ItemKNN dice", knn(KNNConfig{Neighbours: 137, Similarity: Dice}), []figure{{20, recall, 0.0673}, {40, recall, 0.1226}, {100, recall, 0.2443}}},
			{"ItemKNN jaccard", knn(KNNConfig{Neighbours: 135, Similarity: Jaccard}), []figure{{20, recall, 0.0670}, {40, recall, 0.1218}, {100, recall, 0.2438}}},
			{"ItemKNN asymmetric TF-IDF", knn(KNNConfig{Neighbours: 1000, Similarity: Asymmetric, Alpha: 0.0466, Weighting: TFIDF}), []figure{{20, recall, 0.0988}, {40, recall, 0.1745}, {100, recall, 0.3189}}},
		}},
		{"gowalla-lightgcn", "train.txt", "test.txt", false, []method{
			{"ItemKNN cosine", knn(KNNConfig{Neighbours: 100, Normalise: true, Centred: true}), []figure{{20, recall, 0.156994}, {50, recall, 0.254896}}},
		}},
	} {
		t.Run(set.name, func(t *testing.T) {
			dir := datasets(t, set.name)
			train, test := readSplit(t, filepath.Join(dir, set.train), filepath.Join(dir, set.test), set.triples)
			t.Logf("%d users, %d items, %d known, %d held out", train.Users(), train.Items(), train.Entries(), test.Entries())
			for _, m := range set.methods {
				model, err := m.fit(train)
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range m.figures {
					got, err := Evaluate(model, test, train.Queries(true), f.k)
					if err != nil {
						t.Fatal(err)
					}
					v := f.metric(got[0])
					t.Logf("%s @%d: %.4f, published %.4f; %+v", m.name, f.k, v, f.want, got[0])
					if math.Abs(v-f.want) > 0.002 {
						t.Errorf("%s @%d: %.4f, published %.4f", m.name, f.k, v, f.want)
					}
				}
			}
		})
	}
}
