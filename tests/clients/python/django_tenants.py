"""The application `shop`, which knows of no tenants, run by two of them on the tables of `dsql-proxy dev`."""

import decimal
import io
import os
import sys

import django
from django.conf import settings

TENANTS = ("acme", "globex")


def connection(user):
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["PGDATABASE"],
        "USER": user,
        "PASSWORD": user,
        "HOST": os.environ["PGHOST"],
        "PORT": os.environ["PGPORT"],
        "OPTIONS": {"sslmode": "disable"},
        # Cursors WITH HOLD are not open to tenants; this is what poolers of transactions need anyway.
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }


settings.configure(
    INSTALLED_APPS=["shop"],
    DATABASES={"default": {}} | {tenant: connection(tenant) for tenant in TENANTS},
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

from django.core.management import call_command  # noqa: E402
from django.core.paginator import Paginator  # noqa: E402
from django.db import DataError, DatabaseError, IntegrityError, connections, transaction  # noqa: E402
from django.db.models import Avg, Case, Count, Exists, F, OuterRef, Q, Subquery, Sum, Value, When, Window  # noqa: E402
from django.db.models.functions import Coalesce, Lower, Rank, TruncMonth, Upper  # noqa: E402

from shop.models import Country, Customer, Order  # noqa: E402


def reads(tenant):
    """What a shop shows; gives a picture of it, which has to be the other tenant's no more than its own."""
    customers, orders = Customer.objects.using(tenant), Order.objects.using(tenant)
    assert customers.count() == 100 and orders.count() == 300
    emails = set(customers.values_list("email", flat=True))
    assert all(email.endswith(f"@{tenant}.example") for email in emails), emails
    first = customers.select_related("country").get(id=7)
    assert first.name == f"{tenant.title()} customer 7" and first.country.name
    page = Paginator(orders.order_by("-created_at"), 20).page(3)
    assert len(page) == 20 and page.paginator.count == 300
    with_orders = customers.prefetch_related("orders").filter(id__lte=5)
    assert sum(len(customer.orders.all()) for customer in with_orders) == 15
    by_country = list(customers.values("country__name").annotate(n=Count("id"), sum=Sum("orders__amount")).order_by("country__name"))
    assert sum(row["n"] for row in by_country) == 300, by_country
    months = orders.annotate(month=TruncMonth("created_at")).values("month").annotate(mean=Avg("amount")).order_by("month")
    assert len(months) >= 1
    ranked = orders.annotate(rank=Window(Rank(), partition_by=F("customer_id"), order_by=F("amount").desc()))
    assert sum(order.rank == 1 for order in ranked) == 100
    latest = orders.filter(customer=OuterRef("pk")).order_by("-created_at").values("amount")[:1]
    assert customers.annotate(latest=Subquery(latest)).filter(latest__gt=0).count() == 100
    noted = orders.filter(customer=OuterRef("pk"), note__icontains=tenant)
    assert customers.filter(Exists(noted)).exists()
    kind = Case(When(amount__gte=500, then=Value("large")), default=Value("small"))
    kinds = orders.annotate(kind=kind).values("kind").annotate(n=Count("*")).order_by("kind")
    assert [row["kind"] for row in kinds] == ["large", "small"]
    named = customers.filter(Q(name__startswith=tenant.title()) & ~Q(id__in=[1, 2, 3])).annotate(low=Lower("name"), up=Upper("email"))
    assert named.count() == 97 and named.earliest("id").low == f"{tenant} customer 4"
    union = customers.filter(id=1).values_list("id").union(orders.filter(id=2).values_list("id"))
    assert sorted(union) == [(1,), (2,)]
    assert customers.aggregate(n=Coalesce(Sum("id"), 0))["n"] == 5050
    raw = list(Order.objects.using(tenant).raw("SELECT * FROM orders WHERE amount > %s ORDER BY id", [990]))
    assert raw and all(order.amount > 990 for order in raw)
    assert Country.objects.using(tenant).count() == 10
    assert sum(1 for _ in orders.iterator(chunk_size=50)) == 300
    return sorted(emails)


def writes(tenant):
    customers, orders = Customer.objects.using(tenant), Order.objects.using(tenant)
    moment = customers.latest("created_at").created_at
    # Both tenants use the same numbers.
    own = customers.create(id=1001, name="New", email="new@example.org", country_id="NO", created_at=moment)
    found, created = customers.get_or_create(id=1001, defaults={"name": "x", "created_at": moment})
    assert (found.name, created) == ("New", False)
    _, created = customers.update_or_create(id=1002, defaults={"name": f"Also {tenant}", "created_at": moment})
    assert created
    made = [Order(id=2000 + n, customer=own, amount=n, created_at=moment) for n in range(20)]
    Order.objects.using(tenant).bulk_create(made, batch_size=7)
    Order.objects.using(tenant).bulk_create(made[:5], ignore_conflicts=True)
    assert orders.filter(id__gte=2000).update(amount=F("amount") + 100, note=tenant) == 20
    for order in (some := list(orders.filter(id__gte=2010))):
        order.note = f"{tenant} {order.id}"
    assert orders.bulk_update(some, ["note"]) == 10
    own.name = "Renamed"
    own.save(using=tenant)
    assert customers.get(id=1001).name == "Renamed"
    with transaction.atomic(using=tenant):
        orders.filter(id=2000).update(amount=1)
        try:
            with transaction.atomic(using=tenant):
                orders.create(id=2001, customer=own, amount=0, created_at=moment)
            raise AssertionError("the number was there")
        except IntegrityError:
            pass
        assert orders.select_for_update().get(id=2000).amount == decimal.Decimal("1.00")
    assert orders.filter(id__gte=2000).aggregate(sum=Sum("amount"))["sum"] == sum(range(20)) + 2000 - 99


def ends(tenant):
    orders = Order.objects.using(tenant)
    assert set(orders.filter(id__range=(2010, 2019)).values_list("note", flat=True)) == {f"{tenant} {n}" for n in range(2010, 2020)}
    assert orders.filter(id__gte=2000).delete()[0] == 20
    assert Customer.objects.using(tenant).filter(id__gt=1000).delete()[0] == 2


def attacks(tenant, other):
    """What an injected text might be."""
    orders = Order.objects.using(tenant)
    assert not orders.extra(where=[f"tenant_id = '{other}'"]).exists()
    assert not orders.extra(where=["1 = 0) OR (note LIKE '%%" + other + "%%'"]).exists()
    refused = [
        f"UPDATE orders SET tenant_id = '{other}' WHERE id = 1",
        f"INSERT INTO orders (tenant_id, id, customer_id, amount) VALUES ('{other}', 9999, 1, 1)",
        "SELECT * FROM pg_stats",
        "SELECT query_to_xml('SELECT * FROM public.orders', true, true, '')",
        "SET search_path = evil",
        "DROP TABLE orders",
    ]
    for text in refused:
        try:
            with transaction.atomic(using=tenant), connections[tenant].cursor() as cursor:
                cursor.execute(text)
        except DatabaseError as error:
            assert other not in str(error), error
        else:
            raise AssertionError(f"not refused: {text}")
    # The error of a cast shows nobody else's value.
    try:
        list(Order.objects.using(tenant).raw("SELECT * FROM orders WHERE note::int > 0"))
        raise AssertionError("notes are no numbers")
    except DataError as error:
        assert other not in str(error), error


def introspection(tenant):
    tables = connections[tenant].introspection.table_names()
    assert tables == ["countries", "customers", "orders"], tables
    out = io.StringIO()
    call_command("inspectdb", database=tenant, stdout=out)
    assert "class Orders(models.Model)" in out.getvalue(), out.getvalue()


seen = {}
for name in TENANTS:
    seen[name] = reads(name)
    writes(name)
for name, stranger in zip(TENANTS, TENANTS[::-1]):
    ends(name)
    attacks(name, stranger)
    introspection(name)
    assert reads(name) == seen[name]
assert not set(seen["acme"]) & set(seen["globex"])
print(f"Django {django.__version__}, two tenants", file=sys.stdout)
