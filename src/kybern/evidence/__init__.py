"""What a bug report needs to say about a cluster: gathered from machines and API, with secrets taken out."""
