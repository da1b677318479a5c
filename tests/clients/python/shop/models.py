"""The tables of `dsql-proxy dev`, as a shop with one owner would declare them."""

from django.db import models


class Country(models.Model):
    code = models.TextField(primary_key=True)
    name = models.TextField()

    class Meta:
        managed, db_table = False, "countries"


class Customer(models.Model):
    id = models.BigIntegerField(primary_key=True)
    name = models.TextField()
    email = models.TextField(null=True)
    country = models.ForeignKey(Country, models.DO_NOTHING, db_column="country_code", null=True)
    created_at = models.DateTimeField()

    class Meta:
        managed, db_table = False, "customers"


class Order(models.Model):
    id = models.BigIntegerField(primary_key=True)
    customer = models.ForeignKey(Customer, models.DO_NOTHING, related_name="orders")
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    note = models.TextField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        managed, db_table = False, "orders"
