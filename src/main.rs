fn main() {
    tracing_subscriber::fmt()
        .with_env_filter(std::env::var("RUST_LOG").unwrap_or("info".into()))
        .with_writer(std::io::stderr)
        .init();
    let path = std::env::args().nth(3).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let config: dsql_proxy::config::Config = serde_saphyr::from_str(&text).unwrap();
    let proxy = dsql_proxy::server::Proxy::start(&config).unwrap();
    eprintln!("listening on {}", proxy.address());
    let rt = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    rt.block_on(async {
        tokio::signal::ctrl_c().await.unwrap();
    });
    proxy.stop(std::time::Duration::from_secs(5));
}
