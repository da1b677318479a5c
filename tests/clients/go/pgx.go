// pgx 4 (Debian's): statement cache in both modes, simple protocol, batches, COPY, savepoints, a pool.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgconn/stmtcache"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func check(right bool, what string) {
	if !right {
		log.Fatal(what)
	}
}

func exercise(ctx context.Context, config *pgx.ConnConfig) {
	conn, err := pgx.ConnectConfig(ctx, config)
	must(err)
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "drop table if exists client_pgx")
	must(err)
	_, err = conn.Exec(ctx, "create table client_pgx (id int primary key, name text)")
	must(err)
	for i := 0; i < 50; i++ {
		_, err = conn.Exec(ctx, "insert into client_pgx values ($1, $2)", i, fmt.Sprint("n", i))
		must(err)
		var sum int
		must(conn.QueryRow(ctx, fmt.Sprintf("select $1::int + %d", i%20), i).Scan(&sum))
		check(sum == i+i%20, "sum")
	}
	batch := &pgx.Batch{}
	for i := 0; i < 30; i++ {
		batch.Queue("select name from client_pgx where id = $1", i)
	}
	results := conn.SendBatch(ctx, batch)
	for i := 0; i < 30; i++ {
		var name string
		must(results.QueryRow().Scan(&name))
		check(name == fmt.Sprint("n", i), "batch")
	}
	must(results.Close())
	_, err = conn.Exec(ctx, "insert into client_pgx values (1, 'again')")
	var pgError *pgconn.PgError
	check(errors.As(err, &pgError) && pgError.Code == "23505", "unique violation")
	rows := [][]interface{}{}
	for i := 1000; i < 2000; i++ {
		rows = append(rows, []interface{}{i, "copied"})
	}
	count, err := conn.CopyFrom(ctx, pgx.Identifier{"client_pgx"}, []string{"id", "name"}, pgx.CopyFromRows(rows))
	must(err)
	check(count == 1000, "copied")
	must(conn.BeginFunc(ctx, func(tx pgx.Tx) error {
		_ = tx.BeginFunc(ctx, func(inner pgx.Tx) error {
			_, err := inner.Exec(ctx, "delete from client_pgx")
			must(err)
			return errors.New("back")
		})
		var left int
		must(tx.QueryRow(ctx, "select count(*) from client_pgx").Scan(&left))
		check(left == 1050, "savepoint")
		return nil
	}))
}

func main() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	for _, mode := range []int{stmtcache.ModePrepare, stmtcache.ModeDescribe} {
		mode := mode
		config, err := pgx.ParseConfig("")
		must(err)
		config.BuildStatementCache = func(conn *pgconn.PgConn) stmtcache.Cache {
			return stmtcache.New(conn, mode, 8)
		}
		exercise(ctx, config)
	}
	config, err := pgx.ParseConfig("")
	must(err)
	config.PreferSimpleProtocol = true
	exercise(ctx, config)

	pool, err := pgxpool.Connect(ctx, "pool_max_conns=8")
	must(err)
	var group sync.WaitGroup
	for number := 0; number < 16; number++ {
		number := number
		group.Add(1)
		go func() {
			defer group.Done()
			for i := 0; i < 30; i++ {
				var product int
				must(pool.QueryRow(ctx, "select $1::int * $2::int", number, i).Scan(&product))
				check(product == number*i, "product")
			}
		}()
	}
	group.Wait()
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	_, err = pool.Exec(short, "select pg_sleep(30)")
	cancel()
	check(err != nil, "no timeout")
	var one int
	must(pool.QueryRow(ctx, "select 1").Scan(&one))
	pool.Close()
	fmt.Println("pgx 4")
}
