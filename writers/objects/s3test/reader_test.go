package s3test_test

import (
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/cardlake/cardlake/writers/objects/s3test"
)

func TestReader(t *testing.T) {
	server := s3test.Start(t, s3test.Config{})
	bucket, other := server.Bucket(t), server.Bucket(t)
	kms, hers := server.KMS.Create(), server.KMS.Create()
	for key, sealed := range map[string]string{"data/a/1": hers, "data/a/sealed": kms, "data/b/1": kms, "data/ab": hers} {
		for _, b := range []string{bucket, other} {
			if _, err := client(server, nil).PutObject(t.Context(), put(b, key, sealed, key)); err != nil {
				t.Fatal(err)
			}
		}
	}
	as := func(r s3test.Reader) *s3.Client {
		return client(server, func(o *s3.Options) { o.Credentials = server.Admit(r) })
	}
	reader := as(s3test.Reader{Bucket: bucket, Prefixes: []string{"data/a/"}, Keys: []string{hers}})
	nobody := as(s3test.Reader{})
	get := func(c *s3.Client, bucket, key string) error {
		_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
		return err
	}
	list := func(c *s3.Client, prefix string) error {
		_, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
		return err
	}
	if err := get(reader, bucket, "data/a/1"); err != nil {
		t.Error(err)
	}
	if err := list(reader, "data/a/"); err != nil {
		t.Error(err)
	}
	link, err := s3.NewPresignClient(reader).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("data/b/1")})
	if err != nil {
		t.Fatal(err)
	}
	_, remove := reader.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: aws.String("data/a/1")})
	_, write := reader.PutObject(t.Context(), put(bucket, "data/a/2", hers, "x"))
	for what, err := range map[string]error{
		"another prefix":             get(reader, bucket, "data/b/1"),
		"a name like the prefix":     get(reader, bucket, "data/ab"),
		"another prefix by its name": get(reader, bucket, "data/a/../b/1"),
		"another key":                get(reader, bucket, "data/a/sealed"),
		"another bucket":             get(reader, other, "data/a/1"),
		"the list of another prefix": list(reader, "data/b/"),
		"the list of all":            list(reader, ""),
		"the list above":             list(reader, "data/a"),
		"a put":                      write,
		"a delete":                   remove,
		"an object without a grant":  get(nobody, bucket, "data/a/1"),
		"the list without a grant":   list(nobody, "data/a/"),
	} {
		wantCode(t, what, err, "AccessDenied")
	}
	if status := fetch(t, link.URL); status != 403 {
		t.Errorf("a link to another prefix: status %d", status)
	}
}

// fetch returns the status that a link has.
func fetch(t *testing.T, link string) int {
	t.Helper()
	answer, err := http.Get(link)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}
