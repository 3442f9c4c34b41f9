package tokenize_test

import (
	"bytes"
	"fmt"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

func ExampleMinter() {
	secret, err := keys.KeyFrom(bytes.Repeat([]byte{42}, 32))
	if err != nil {
		fmt.Println(err)
		return
	}
	pan, err := card.ParsePAN("4111111111111111")
	if err != nil {
		fmt.Println(err)
		return
	}
	token := tokenize.NewMinter(1, secret).Token(pan)
	fmt.Println(token)
	parsed, err := tokenize.ParseToken(token.String())
	fmt.Println(parsed == token, err)
	// Output:
	// tk1_dkoacgpapefelpljppepbcmejfgcbipp
	// true <nil>
}

func ExampleFormatter() {
	secret, err := keys.KeyFrom(bytes.Repeat([]byte{42}, 32))
	if err != nil {
		fmt.Println(err)
		return
	}
	pan, err := card.ParsePAN("4111111111111111")
	if err != nil {
		fmt.Println(err)
		return
	}
	f := tokenize.NewFormatter("tenant", secret)
	token, err := f.AppendToken(nil, pan)
	fmt.Println(string(token), card.LuhnValid(token), err)
	var back card.PAN
	err = f.Reveal(&back, token)
	fmt.Println(bytes.Equal(back.Digits(), pan.Digits()), err)
	// Output:
	// 7672921284506508 false <nil>
	// true <nil>
}
