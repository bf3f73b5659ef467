URL={gateway}/v1/chat/completions
BODY='{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}'

# 1. Ask without paying: 402 with a macaroon and an invoice.
CHALLENGE=$(curl -s -o /dev/null -D - -H 'Content-Type: application/json' -d "$BODY" "$URL" | grep -i '^www-authenticate: *L402')
MACAROON=$(printf '%s' "$CHALLENGE" | sed 's/.*macaroon="\([^"]*\)".*/\1/')
INVOICE=$(printf '%s' "$CHALLENGE" | sed 's/.*invoice="\([^"]*\)".*/\1/')

# 2. Pay the invoice with test money: the preimage is the proof.
PREIMAGE=$(curl -s -H 'Content-Type: application/json' -d "{\"invoice\":\"$INVOICE\"}" {console}/test/pay | sed 's/.*"preimage":"\([^"]*\)".*/\1/')

# 3. The same request with the proof: 200.
curl -i -H "Authorization: L402 $MACAROON:$PREIMAGE" -H 'Content-Type: application/json' -d "$BODY" "$URL"
