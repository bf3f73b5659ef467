curl -i -H 'X-Cashu: {token}' -H 'Content-Type: application/json' -d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}' {gateway}/v1/chat/completions
